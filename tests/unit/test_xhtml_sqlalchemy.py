"""Tables from what a real SQLAlchemy gives: rows of Core, mapped objects, scalars; also streamed."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import ForeignKey, create_engine, func, select, text
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, relationship

from framework.xhtml import Column, Element


class Base(DeclarativeBase):
    pass


class Host(Base):
    __tablename__ = "host"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    disks: Mapped[list[Disk]] = relationship(back_populates="host")


class Disk(Base):
    __tablename__ = "disk"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    mounted_at: Mapped[str | None]
    price: Mapped[Decimal]
    host_id: Mapped[int] = mapped_column(ForeignKey("host.id"))
    host: Mapped[Host] = relationship(back_populates="disks")


@pytest.fixture
def session() -> Iterator[Session]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        host = Host(name="<box>")
        session.add_all([Disk(name="sda", mounted_at="/", price=Decimal("9.50"), host=host)])
        session.add_all([Disk(name="sdb", mounted_at=None, price=Decimal(20), host=host)])
        session.flush()
        yield session
    engine.dispose()


def cells(table: Any) -> list[list[str]]:
    return [[cell.text for cell in row.elements] for row in table.find_all("tr")]


def test_rows_of_a_select(session: Session) -> None:
    result = session.execute(select(Disk.name, Disk.mounted_at, Host.name.label("host")).join(Host).order_by(Disk.name))
    table = Element("div").add_table(result, row_header="name")
    assert cells(table) == [["Name", "Mounted at", "Host"], ["sda", "/", "<box>"], ["sdb", "", "<box>"]]
    assert '<th scope="row">sda</th><td>/</td><td>&lt;box&gt;</td>' in str(table)


def test_mapped_objects_and_what_they_lead_to(session: Session) -> None:
    disks = session.scalars(select(Disk).order_by(Disk.id)).all()
    assert cells(Element("div").add_table(disks))[0] == ["Id", "Name", "Mounted at", "Price", "Host id"]
    table = Element("div").add_table(
        disks, columns=["name", Column("host.name", "Host"), Column("price", "Price", render=".2f")]
    )
    assert cells(table)[1:] == [["sda", "<box>", "9.50"], ["sdb", "<box>", "20.00"]]


def test_mappings_text_and_aggregates(session: Session) -> None:
    mappings = session.execute(select(Disk.name).order_by(Disk.name)).mappings()
    assert cells(Element("div").add_table(mappings.all())) == [["Name"], ["sda"], ["sdb"]]
    plain = session.execute(text("SELECT name, id * 2 AS twice FROM disk ORDER BY name"))
    assert cells(Element("div").add_table(plain)) == [["Name", "Twice"], ["sda", "2"], ["sdb", "4"]]
    total = session.execute(select(func.count(Disk.id).label("disks")))
    assert cells(Element("div").add_table(total)) == [["Disks"], ["2"]]


def test_result_is_streamed_and_read_anew_each_time(session: Session) -> None:
    def rows() -> Any:
        return session.execute(select(Disk.name, Disk.price).order_by(Disk.name)).yield_per(1)

    table = Element("div").add_table(rows, stream=True)
    assert b"".join(table) == b"".join(table)
    assert b"<tr><td>sda</td>" in b"".join(table)


def test_none_found(session: Session) -> None:
    result = session.execute(select(Disk.name).where(Disk.id < 0))
    table = Element("div").add_table(result.all(), headings=["Name"], empty="No disk.")
    assert cells(table) == [["Name"], ["No disk."]]
