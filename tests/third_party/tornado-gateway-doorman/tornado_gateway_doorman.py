"""Two plugins as a stranger writes them: one refuses users, both write down when they are called."""

from pathlib import Path

from pydantic import BaseModel

from tornado_gateway.hookspecs import Context, InvalidRequest, Outcome, hookimpl


class Diary:
    """Writes down when it is called."""

    class Settings(BaseModel):
        journal: Path

    name = "diary"

    def __init__(self, settings: Settings) -> None:
        self._journal = settings.journal

    @hookimpl
    async def admit(self, context: Context) -> None:
        self._note("admit")

    @hookimpl
    async def finished(self, context: Context, outcome: Outcome) -> None:
        self._note(f"finished {outcome.ended} {outcome.status}")

    def _note(self, what: str) -> None:
        with self._journal.open("a") as journal:
            journal.write(f"{self.name} {what}\n")


class Doorman(Diary):
    """Lets nobody in who is on the list."""

    class Settings(Diary.Settings):
        unwanted: tuple[str, ...] = ()

    name = "doorman"

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._unwanted = settings.unwanted

    @hookimpl
    async def admit(self, context: Context) -> None:
        await super().admit(context)
        if context.user in self._unwanted:
            raise InvalidRequest("Not with these shoes.", param="user")
