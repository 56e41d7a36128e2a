"""Rows of single tables out of a backup: read beside the live ones, compared, written."""
