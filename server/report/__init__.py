"""What people read at the centre: pages, figures and tables of finished runs."""
