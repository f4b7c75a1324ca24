"""What the Hugging Face hub is given: what it reads of a card (front), and the upload itself (push)."""
