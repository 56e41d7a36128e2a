"""What this release is called, and the defect that it carries on purpose (shop/faults.py)."""

VERSION: str = "v1.0.0"
FAULT: str | None = None
