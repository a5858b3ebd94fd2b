"""What alembic runs in its folder: applies what is missing, each migration in its own transaction."""

import os

from alembic import context
from sqlalchemy import create_engine

with create_engine(os.environ["BENCH_PLACE"]).connect() as connection:
    context.configure(connection=connection, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()
