"""A small web service: tasks, uploads, payment webhooks and offers."""
