"""Failed requests: which are worth repeating, how long to wait before, and when to stop."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime

from segpipe.errors import DownloadError, HubError, InputError, IntegrityError
from segpipe.log import get_logger

logger = get_logger(__name__)

LONGEST_TIME = 86400.0
"""No limit is longer than a day, in seconds."""


@dataclass(frozen=True)
class Limits:
    """Bounds on a request. Times are in seconds, at most a day."""

    connect_timeout: float = 10.0
    """For each address of a host. Looking its name up is the operating system's business, and not bounded here."""
    read_timeout: float = 30.0
    """Without a byte for this long, the request has failed. The status and all headers must have come by then."""
    attempts: int = 5
    """In a row without progress."""
    first_delay: float = 0.5
    """Doubled with every attempt."""
    longest_delay: float = 30.0
    deadline: float = 300.0
    """Over all attempts, counted from the last progress."""
    slow_window: float = 30.0
    """Speed is measured over this long."""
    min_speed: float = 1024.0
    """Bytes per second; a slower answer is given up and asked for again."""
    max_redirects: int = 5

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "read_timeout", "slow_window", "deadline"):
            check_seconds(name, getattr(self, name))


class TransientError(DownloadError):
    """A failure that may pass; becomes a final error when the attempts are used up."""

    kind: type[HubError] = DownloadError
    """What becomes of it."""
    advice = "Try again later."
    most_attempts: int | None = None
    """Fewer than the limits allow, where there was no progress before. If None, as many."""

    def __init__(
        self, message: str, retry_after: float | None = None, *, url: str | None = None, status: int | None = None
    ) -> None:
        super().__init__(message, url=url, status=status)
        self.retry_after = retry_after

    def final(self, attempts: int) -> HubError:
        """Return the error to raise after `attempts` attempts."""
        times = "one attempt" if attempts == 1 else f"{attempts} attempts"
        return self.kind(f"{self} Gave up after {times}. {self.advice}", url=self.url, status=self.status)


class UnknownHostError(TransientError):
    """No name server knows the host: a misspelled address or no network, which waiting seldom mends."""

    advice = "Check the address and the network."
    most_attempts = 2


class SlowError(TransientError):
    """The answer trickles in below the minimum speed."""


class ShortBodyError(TransientError):
    """The answer ended before its announced end."""

    kind = IntegrityError
    advice = "Try again later, or check the proxy."


@dataclass
class Backoff:
    """Counts the attempts of one operation and waits between them."""

    limits: Limits
    sleep: Callable[[float], object] = time.sleep
    jitter: Callable[[], float] = random.random

    def __post_init__(self) -> None:
        self.reset()
        self._has_progressed = False

    def reset(self) -> None:
        """Start counting again, after progress."""
        self.attempt = 0
        self.started = time.monotonic()
        self._has_progressed = True

    def pause(self, error: TransientError) -> None:
        """Wait before the next attempt, or raise the final error when there is none left."""
        self.attempt += 1
        delay = self._delay() if error.retry_after is None else error.retry_after
        is_late = time.monotonic() - self.started + delay > self.limits.deadline
        most = self._most_attempts(error)
        if self.attempt >= most or is_late:
            raise error.final(self.attempt) from None
        logger.warning("%s Attempt %d of %d in %.1f s.", error, self.attempt + 1, most, delay)
        self.sleep(delay)

    def _most_attempts(self, error: TransientError) -> int:
        if error.most_attempts is None or self._has_progressed:
            return self.limits.attempts
        return min(self.limits.attempts, error.most_attempts)

    def _delay(self) -> float:
        longest = min(self.limits.longest_delay, self.limits.first_delay * 2 ** (self.attempt - 1))
        # Half fixed, half drawn: many clients of one server spread out.
        return longest * (0.5 + 0.5 * self.jitter())


def check_seconds(name: str, seconds: float) -> float:
    """Return a time in seconds if it is positive, and at most a day."""
    if not 0 < seconds <= LONGEST_TIME:  # false for what is not a number, too
        raise InputError(
            f"{name} is {seconds!r}. It needs a positive number of seconds, at most {LONGEST_TIME:,.0f}, e.g. 30."
        )
    return seconds


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header asks for (a number or a date), or None."""
    if not value:
        return None
    seconds = parse_count(value)
    if seconds is not None:
        return float(seconds)
    try:
        moment = parsedate_to_datetime(value)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())


def parse_count(value: str) -> int | None:
    """Return the number in a header, or None. Not by isdigit: that takes "²" as well, and int does not."""
    return int(value) if re.fullmatch(r"\s*[0-9]{1,18}\s*", value) else None


def innermost_reason(error: BaseException) -> str:
    """Return the innermost cause of an error in words. Not str(error), which has the URL with its query."""
    causes = raised_causes(error)
    words = next((cause.strerror for cause in reversed(causes) if isinstance(cause, OSError) and cause.strerror), None)
    return words or type(causes[-1]).__name__


def raised_causes(error: BaseException) -> list[BaseException]:
    """Return the error and what it was raised for, outermost first."""
    causes: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in causes:
        causes.append(current)
        wrapped = [getattr(current, "reason", None), *current.args, current.__cause__, current.__context__]
        current = next((inner for inner in wrapped if isinstance(inner, BaseException)), None)
    return causes
