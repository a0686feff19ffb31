"""The least that could answer: one FastAPI process, SQLAlchemy Core on the async engine, two inserts and a commit.

`python -m tests.load.bare PORT` reads DATABASE_URL and REDIS_URL. It knows nobody, checks nothing, repeats nothing.
"""

import os
import sys
from datetime import UTC, date, datetime

import uvicorn
from fastapi import FastAPI, Response
from pydantic import BaseModel
from redis.asyncio import Redis
from sqlalchemy import insert
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from lms.kernel.ids import new_id
from lms.kernel.schema import events, outbox


class Wanted(BaseModel):
    """The body of a request for leave."""

    leave_type: str
    start_date: date
    end_date: date


def create_app(database_url: str, redis_url: str) -> FastAPI:
    """Return the two routes."""
    engine = create_async_engine(make_url(database_url).set(drivername="mysql+aiomysql"), pool_size=10)
    redis = Redis.from_url(redis_url)
    app = FastAPI()

    @app.post("/bare", status_code=201)
    async def post(body: Wanted) -> dict[str, str]:
        event_id, now, data = new_id(), datetime.now(UTC), body.model_dump_json()
        event = {
            "stream": f"bare-{event_id}", "version": 1, "event_id": event_id, "type": "bare.asked", "schema_version": 1,
            "log_epoch": 1, "data": data, "metadata": "{}", "recorded_at": now,
        }  # fmt: skip
        message = {
            "id": event_id, "aggregatetype": "bare", "aggregateid": event_id, "type": "bare.asked", "payload": data,
            "headers": "{}", "recorded_at": now,
        }  # fmt: skip
        async with engine.begin() as connection:
            await connection.execute(insert(events), event)
            await connection.execute(insert(outbox), message)
        return {"id": event_id}

    @app.get("/bare/{key}")
    async def get(key: str) -> Response:
        return Response(await redis.get(f"bare:{key}"), media_type="application/json")

    return app


def main() -> None:
    """Serve until killed."""
    app = create_app(os.environ["DATABASE_URL"], os.environ["REDIS_URL"])
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), access_log=False, log_level="warning")


if __name__ == "__main__":
    main()
