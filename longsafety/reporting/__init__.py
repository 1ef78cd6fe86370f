"""What people read: tables, figures, the report, the gallery."""
