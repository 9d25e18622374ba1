"""What runs at the centre: ServerApp, round engine, tracking, figures, report."""
