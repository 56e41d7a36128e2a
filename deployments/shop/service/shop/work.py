"""The time that a real service would spend on its own business."""

import asyncio

WORK_SECONDS = 0.04


async def work() -> None:
    await asyncio.sleep(WORK_SECONDS)
