"""The search server: `nirank serve`, its JSON API and its page."""
