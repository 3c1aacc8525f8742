"""What users build: networks and their layers, and what is measured on them."""
