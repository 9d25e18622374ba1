"""What runs in a hospital: ClientApp, the training loop, readers, `thyroid-client`."""
