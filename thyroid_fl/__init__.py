"""Federated learning across hospitals for thyroid-nodule ultrasound."""
