class Refusal(Exception):
    """The answer is no: an HTTP status, and a message for the person who asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
