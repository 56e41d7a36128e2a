"""Bring the schema up to date, then serve until SIGTERM."""

import os
import sys

import psycopg
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from shop.application import make_application
from shop.release import VERSION
from shop.schema import apply_pending_migrations
from shop.sessions import save_demo_user
from shop.settings import MissingSetting, Settings, read_settings

KEEP_ALIVE_SECONDS = 75
"""Longer than a proxy in front keeps idle connections, so that the proxy is the one who closes them."""

GRACE_SECONDS = 10


def main() -> None:
    try:
        settings = read_settings(os.environ)
    except MissingSetting as missing:
        sys.exit(f"shop: the variable {missing} is not set")

    try:
        apply_pending_migrations(settings.database_url)
        if settings.demo_password:
            save_demo_user(settings.database_url, settings.demo_password)
    except (psycopg.Error, SQLAlchemyError) as error:
        sys.exit(f"shop: the database cannot be prepared: {error}")

    serve(settings)


def serve(settings: Settings) -> None:
    uvicorn.run(
        make_application(settings),
        host="127.0.0.1",
        port=settings.port,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        headers=[("X-Version", VERSION)],
        server_header=False,
        access_log=False,
        log_level="warning",
    )


if __name__ == "__main__":
    main()
