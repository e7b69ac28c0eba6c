"""The rules of Connect Four; nothing here knows of clients."""

from __future__ import annotations

from typing import Any

ROWS, COLUMNS = 6, 7
DIRECTIONS = ((0, 1), (1, 0), (1, 1), (1, -1))  # row and column
OTHER = {"red": "yellow", "yellow": "red"}


class Game:
    """One after the other on the same board; who begins changes.

    :ivar turn: whose it is, None when the game is over.
    """

    def __init__(self) -> None:
        self._first = "yellow"
        self.begin()

    def begin(self) -> None:
        """Empty the board."""
        self._first = OTHER[self._first]
        self._columns: list[list[str]] = [[] for _ in range(COLUMNS)]  # each from the bottom up
        self._line: list[list[int]] = []
        self.turn: str | None = self._first

    def drop(self, column: Any) -> bool:
        """Let the disc of ``turn`` fall; False when this is no column, or it is full."""
        if self.turn is None or not isinstance(column, int) or not 0 <= column < COLUMNS:
            return False
        discs = self._columns[column]
        if len(discs) == ROWS:
            return False
        discs.append(self.turn)
        self._line = self._find_line(len(discs) - 1, column)
        full = all(len(discs) == ROWS for discs in self._columns)
        self.turn = None if self._line or full else OTHER[self.turn]
        return True

    def state(self) -> dict[str, Any]:
        """What the page shows; ``line`` has the row and column of the four (or more) that have won."""
        row, column = self._line[0] if self._line else (0, 0)
        winner = self._columns[column][row] if self._line else None
        return {"columns": self._columns, "turn": self.turn, "winner": winner, "line": self._line}

    def _find_line(self, row: int, column: int) -> list[list[int]]:
        """The line of four or more through a disc, or an empty list."""
        for down, right in DIRECTIONS:
            line = [[row, column], *self._same(row, column, down, right), *self._same(row, column, -down, -right)]
            if len(line) >= 4:
                return line
        return []

    def _same(self, row: int, column: int, down: int, right: int) -> list[list[int]]:
        """The discs of the same colour as this one, going from it in one direction."""
        colour, found = self._at(row, column), []
        while self._at(row + down, column + right) == colour:
            row, column = row + down, column + right
            found.append([row, column])
        return found

    def _at(self, row: int, column: int) -> str | None:
        inside = 0 <= column < COLUMNS and 0 <= row < len(self._columns[column])
        return self._columns[column][row] if inside else None
