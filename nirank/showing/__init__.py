"""Values as people see them: as text in a terminal, and as HTML in a notebook."""
