"""The centre as a machine: certificates, hospitals, services, studies."""
