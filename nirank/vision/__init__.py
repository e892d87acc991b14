"""What plugins that look at images share: pixels for models, and a small transformer. They need torch and Pillow."""
