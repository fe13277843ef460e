"""Credits as people write them: SQLAlchemy, one transaction for a hold and one for its end, the row locked meanwhile.

64 callers in four processes, since one process of Python would measure its lock. Every other hold is captured,
the rest is released. Prints operations per second (a hold is one, its end another) and how long a hold takes.
"""

import multiprocessing
import random
import sys
import threading
import time
import uuid

from figures import POSTGRES, SECONDS, figure, quantile
from sqlalchemy import BigInteger, Text, create_engine, insert, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

PROCESSES, THREADS, ACCOUNTS = 4, 16, 10_000
URL = POSTGRES.replace("postgres://", "postgresql+psycopg://", 1)


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Hold(Base):
    __tablename__ = "hold"
    id: Mapped[str] = mapped_column(Text, primary_key=True)
    account: Mapped[int]
    amount: Mapped[int] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(Text)


class Entry(Base):
    __tablename__ = "entry"
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=True)
    account: Mapped[int] = mapped_column(index=True)
    hold: Mapped[str] = mapped_column(Text)
    amount: Mapped[int] = mapped_column(BigInteger)
    after: Mapped[int] = mapped_column(BigInteger)


def locked(session: Session, account: int) -> Account:
    return session.execute(select(Account).where(Account.id == account).with_for_update()).scalar_one()


def hold(sessions, account: int) -> str:
    with sessions.begin() as session:
        row = locked(session, account)
        if row.balance - row.held < 1:
            raise ValueError("insufficient credits")
        row.held += 1
        made = Hold(id=uuid.uuid4().hex, account=account, amount=1, state="open")
        session.add(made)
        return made.id


def end(sessions, account: int, made: str, capture: bool) -> None:
    with sessions.begin() as session:
        row = locked(session, account)
        found = session.get_one(Hold, made)
        row.held -= found.amount
        found.state = "captured" if capture else "released"
        if capture:
            row.balance -= found.amount
            session.add(Entry(account=account, hold=made, amount=-found.amount, after=row.balance))


def caller(sessions, accounts, until, done, times):
    n = 0
    while time.monotonic() < until:
        account = random.randrange(accounts)
        start = time.monotonic()
        made = hold(sessions, account)
        times.append(time.monotonic() - start)
        end(sessions, account, made, n % 2 == 0)
        n += 1
    done.append(2 * n)


def process(accounts, begin, answers):
    engine = create_engine(URL, pool_size=THREADS)
    sessions = sessionmaker(engine)
    done, times = [], []
    begin.wait()
    start = time.monotonic()
    threads = [
        threading.Thread(target=caller, args=(sessions, accounts, start + SECONDS, done, times)) for _ in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answers.put((sum(done) / (time.monotonic() - start), times))
    engine.dispose()


def measure(accounts):
    begin, answers = multiprocessing.Barrier(PROCESSES), multiprocessing.Queue()
    workers = [multiprocessing.Process(target=process, args=(accounts, begin, answers)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    heard = [answers.get() for _ in workers]
    for worker in workers:
        worker.join()
    return sum(rate for rate, _ in heard), [t for _, times in heard for t in times]


def main():
    engine = create_engine(URL)
    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with engine.begin() as connection:
        rows = [{"id": i, "balance": 1_000_000_000, "held": 0} for i in range(ACCOUNTS)]
        connection.execute(insert(Account), rows)
    engine.dispose()
    for name, accounts in [("one hot account", 1), ("10,000 accounts", ACCOUNTS)]:
        rate, times = measure(accounts)
        if not times:
            sys.exit("no call ended in time")
        figure("credits", "SQLAlchemy", "SQLAlchemy", f"hold and its end, {name}", rate, "ops/s")
        figure("credits", "SQLAlchemy", "SQLAlchemy", f"hold p50, {name}", quantile(times, 0.5) * 1e3, "ms")
        figure("credits", "SQLAlchemy", "SQLAlchemy", f"hold p99, {name}", quantile(times, 0.99) * 1e3, "ms")


if __name__ == "__main__":
    main()
