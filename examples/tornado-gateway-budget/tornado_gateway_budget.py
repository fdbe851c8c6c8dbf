"""A monthly budget of tokens for each tenant, and what was spent of it, kept in an SQLite file of its own.

A request is let in while there is budget left, and is charged with what Ollama counted when it has ended: so the last one may go over, by
no more than one answer. Requests that fail without an answer cost nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import click
from pydantic import BaseModel, ConfigDict, NonNegativeInt
from tornado_gateway_budget_ledger import Ledger, LedgerBroken, Spent

from tornado_gateway.hookspecs import (
    Context,
    Outcome,
    PluginRequest,
    PluginResponse,
    RateLimitExceeded,
    Route,
    ServerFacts,
    StartupRefused,
    hookimpl,
)


class Budget:
    """So many tokens a month for each tenant; who has used them up waits for the next."""

    class Settings(BaseModel):
        model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

        file: Path = Path("budget.sqlite")
        """Where spending is kept; a relative path is looked for where the server was started."""
        tokens_per_month: NonNegativeInt | None = None
        """Of prompts and answers together, for each tenant; None for no bound: then spending is only counted."""
        tenants: dict[str, NonNegativeInt] = {}
        """Budgets of single tenants, by the name of their key; they beat `tokens_per_month`."""
        admins: tuple[str, ...] = ()
        """Tenants that see everybody's spending at `/plugins/budget/spending`; the others see their own."""

    def __init__(self, settings: Settings, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._settings = settings
        self._now = now
        self._ledger = Ledger(settings.file)

    @hookimpl
    async def startup(self, server: ServerFacts) -> None:
        try:
            await self._ledger.open()
        except LedgerBroken as error:
            raise StartupRefused(f"budget: {error}") from error

    @hookimpl
    async def reconfigure(self, settings: Settings) -> None:
        """New budgets count at once; the file stays the one of the start."""
        self._settings = settings

    @hookimpl
    def routes(self) -> Sequence[Route]:
        return [Route("/spending", self._spending)]

    @hookimpl
    def commands(self) -> Sequence[click.Command]:
        @click.command("budget-spending")
        @click.option("--month", metavar="YYYY-MM", help="Which month; else this one.")
        def spending(month: str | None) -> None:
            """Show what each tenant has spent this month, from the file: a server may run meanwhile."""
            try:
                rows = self._ledger.read(month or month_of(self._now()))
            except LedgerBroken as error:
                raise click.ClickException(str(error)) from error
            for row in rows:
                click.echo(f"{row.tenant}\t{row.tokens} tokens\t{row.requests} requests\t{self._of(row)}")

        return [spending]

    @hookimpl
    async def ready(self) -> str | None:
        return self._ledger.trouble

    @hookimpl
    async def admit(self, context: Context) -> None:
        tenant = _tenant(context)
        budget = self._budget(tenant)
        if budget is None:
            return
        now = self._now()
        spent = self._ledger.tokens(tenant, month_of(now))
        context.add_header("X-Budget-Remaining-Tokens", str(max(0, budget - spent)))
        if spent >= budget:
            raise RateLimitExceeded(
                f"The monthly budget of {budget} tokens is used up; it begins anew on the first of next month.",
                retry_after=(_next_month(now) - now).total_seconds(),
                headers={"X-Should-Retry": "false"},  # no client should wait so long by itself
            )

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        if context.principal is None or outcome.usage is None:
            return
        tokens = outcome.usage.prompt_tokens + outcome.usage.completion_tokens
        self._ledger.add(_tenant(context), month_of(self._now()), tokens)

    @hookimpl
    async def shutdown(self) -> None:
        await self._ledger.close()

    async def _spending(self, request: PluginRequest) -> PluginResponse:
        tenant, month = _tenant(request.context), request.query.get("month") or month_of(self._now())
        rows = await self._ledger.rows(month)
        shown = rows if tenant in self._settings.admins else [row for row in rows if row.tenant == tenant]
        spending = [
            {"tenant": row.tenant, "tokens": row.tokens, "requests": row.requests, "budget": self._budget(row.tenant)}
            for row in shown
        ]
        return PluginResponse(json.dumps({"month": month, "spending": spending}, ensure_ascii=False).encode())

    def _budget(self, tenant: str) -> int | None:
        return self._settings.tenants.get(tenant, self._settings.tokens_per_month)

    def _of(self, row: Spent) -> str:
        budget = self._budget(row.tenant)
        return "no budget" if budget is None else f"of {budget}"


def month_of(moment: datetime) -> str:
    return moment.strftime("%Y-%m")


def _next_month(moment: datetime) -> datetime:
    first = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)


def _tenant(context: Context) -> str:
    return context.principal.name if context.principal else "anonymous"
