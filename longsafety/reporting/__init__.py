"""What people read: tables, figures, the report, the gallery. Nothing here decides a number."""
