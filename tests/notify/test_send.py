"""Passes over a real database to real receivers: who gets what, once, whatever the receivers do."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from appliance import notify, notify_targets
from appliance.store import engine as engines
from appliance.store import notices
from tests.notify.conftest import Plant
from tests.notify.receivers import Mail, Webhook


def test_each_cause_is_told_once_with_what_why_what_to_do_and_a_link(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    file_id = plant.file()
    plant.event("Part 1 of a.csv was given up after 5 tries: no room on the disk")
    done = plant.send(hook.url())
    assert (done.messages, done.notices, done.waiting, done.errors) == (3, 3, 0, [])
    assert hook.titles == [
        "north: mill-1 is heading for failure",
        f"north: 8 of 10 rows are bad in {plant.rows('SELECT name FROM file')[0][0]}",
        "north: the box needs a look",
    ]
    alarm, file, event = (one["message"] for one in hook.got)
    assert "Overstrain: Strain 12,000 min N.m, limit 11,000." in alarm
    assert "What to do: Lower the torque." in alarm
    assert "probability 87%" in alarm
    assert alarm.endswith("http://box.example/predictions/7")
    assert "torque out of range (8)" in file
    assert file.endswith(f"http://box.example/files/{file_id}/report")
    assert "no room on the disk" in event
    assert plant.send(hook.url()).messages == 0
    assert len(hook.got) == 3
    assert not plant.is_due


def test_good_files_and_warnings_are_nobodys_business(plant: Plant, hook: Webhook) -> None:
    plant.file(bad=1)
    plant.event(severity="warning")
    assert plant.send(hook.url()).messages == 0
    assert plant.rows("SELECT * FROM notice") == []


@pytest.mark.parametrize(
    ("setting", "expected"),
    [("high", ["8 of 10", "refused"]), ("medium", ["8 of 10", "3 of 10", "refused"]), ("none", [])],
)
def test_from_which_criticality_on_files_are_told(
    plant: Plant, hook: Webhook, setting: str, expected: list[str]
) -> None:
    plant.file(bad=8)
    plant.file(bad=3)
    plant.refused()
    plant.send(hook.url(), notify_files=setting)
    assert len(hook.titles) == len(expected)
    for title, words in zip(hook.titles, expected, strict=True):
        assert words in title
    assert not plant.is_due


def test_each_target_gets_what_it_asked_for(plant: Plant, hook: Webhook, other: Webhook, mail: Mail) -> None:
    plant.alarm()
    plant.file()
    plant.event()
    done = plant.send("# night shift", f"alarm={hook.url()}", f"quality, box = {other.url()}", mail.url())
    assert (done.messages, done.notices) == (6, 6)
    assert ["heading for failure" in title for title in hook.titles] == [True]
    assert len(other.got) == 2
    assert len(mail.got) == 3
    letter = mail.got[0]
    assert letter["subject"] == "north: mill-1 is heading for failure"
    assert "Lower the torque." in letter.as_string()


def test_what_nobody_asked_for_is_settled(plant: Plant, hook: Webhook) -> None:
    plant.file()
    assert plant.send(f"alarm={hook.url()}").waiting == 0
    plant.send(hook.url())
    assert hook.got == []


def test_without_a_target_nothing_is_kept_for_the_first_one(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    assert plant.send().sentence() == "Nothing to tell."
    assert not plant.is_due
    plant.send(hook.url())
    assert hook.got == []
    plant.file()
    plant.send(hook.url())
    assert len(hook.got) == 1


@pytest.mark.parametrize(
    ("mood", "said"),
    [
        ("500", "It answered 500 Internal Server Error: it has a fault of its own."),
        ("401", "It answered 401 Unauthorized: the address or its token is not valid."),
        ("404", "It answered 404 Not Found: there is no such address any more."),
        ("302", "It answered 302 Found: the address leads elsewhere; write the one that it leads to."),
        ("close", "It closed the connection without an answer."),
    ],
)
def test_a_failure_is_told_in_a_sentence_and_tried_again(plant: Plant, hook: Webhook, mood: str, said: str) -> None:
    plant.alarm()
    hook.mood = mood
    done = plant.send(hook.url())
    target = notify_targets.read(plant.settings(hook.url()))[0][0]
    assert done.errors == [f"{target.label}: {said}"]
    assert (done.messages, done.failed, done.waiting) == (0, 1, 1)
    assert plant.rows("SELECT error, tries FROM delivery") == [(said, 1)]
    assert not plant.is_due
    assert plant.send(hook.url()).failed == 0, "it is left alone for a while"
    hook.mood = "ok"
    plant.later(minutes=2)
    assert plant.is_due
    assert plant.send(hook.url()).messages == 1
    assert len(hook.got) == 1
    assert plant.states() == [("sent", 1)]


@pytest.mark.parametrize("mood", ["hang", "drip"])
def test_a_target_that_hangs_is_cut_off_and_holds_up_no_other(
    plant: Plant, hook: Webhook, other: Webhook, mood: str
) -> None:
    plant.alarm()
    plant.file()
    hook.mood = mood
    done = plant.send(hook.url(), other.url(), seconds=5)
    assert len(other.got) == 2
    assert (done.messages, done.failed) == (2, 1)
    assert "It did not answer within 5 seconds." in done.errors[0]
    assert plant.states() == [("sent", 2), ("waiting", 2)]


def test_an_address_cannot_call_a_failure_a_success(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    plant.alarm()
    assert plant.send(f"{hook.url()}?optional=yes&retry=3&wait=5").failed == 1
    assert hook.tries == 1


def test_a_slow_target_is_waited_for(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    hook.mood = "slow"
    assert plant.send(hook.url()).messages == 1


def test_nothing_listens(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    done = plant.send("json://127.0.0.1:9/s3cr3t-path", hook.url())
    assert len(hook.got) == 1
    assert "Nothing listens there (connection refused)." in done.errors[0]
    assert "s3cr3t" not in done.errors[0]


def test_a_mail_server_that_refuses_is_named_without_the_password(plant: Plant, mail: Mail) -> None:
    plant.alarm()
    done = plant.send(mail.url("box:hunter2secret@"))
    assert "The mail server refused the login (535)." in done.errors[0]
    assert "hunter2" not in str(plant.rows("SELECT * FROM delivery"))
    plant.later(minutes=2)
    mail.refuse = "550 no such user"
    assert "(550)" in plant.send(mail.url()).errors[0]


def test_pauses_grow_and_a_fresh_alarm_is_worth_a_try(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    plant.file()
    for tries in range(1, 9):
        plant.send(hook.url())
        assert plant.rows("SELECT tries FROM delivery") == [(tries,)]
        [(pause,)] = plant.rows("SELECT extract(epoch FROM next_try_at - clock_timestamp()) FROM delivery")
        longest = min(60 * 2 ** (tries - 1), 3600)
        assert 0.75 * longest - 5 < pause <= longest
        plant.later(seconds=float(pause) + 1)
    plant.send(hook.url())
    plant.event()
    assert plant.send(hook.url()).failed == 0, "a message of the box waits for the target's next turn"
    assert hook.tries == 9
    hook.mood = "ok"
    plant.alarm()
    done = plant.send(hook.url())
    assert (done.messages, done.waiting) == (3, 0), "once it takes an alarm, it gets the rest too"
    assert "heading for failure" in hook.titles[0]


def test_more_than_three_come_as_one_message(plant: Plant, hook: Webhook) -> None:
    for _ in range(30):
        plant.file()
    plant.event()
    plant.alarm(0)
    plant.close(plant.alarm(1))
    done = plant.send(hook.url())
    assert (done.messages, done.notices, done.waiting) == (1, 33, 0)
    [message] = hook.got
    assert message["title"] == "north: 2 alarms, 30 bad files, 1 fault of the box"
    lines = message["message"].splitlines()
    assert lines[0] == "Alarms"
    assert lines[1].startswith("- mill-1 (milling): Overstrain: Strain 12,000")
    assert "Over since" in lines[2], "one that is over comes after those that go on, and says so"
    shown = sum(line.startswith("- ") for line in lines)
    assert shown <= 20
    assert f"and {33 - shown} more" in lines
    assert plant.states() == [("sent", 33)]


def test_an_hour_has_so_many_messages_and_the_rest_comes_together(plant: Plant, hook: Webhook) -> None:
    for _ in range(3):
        plant.file()
        plant.send(hook.url(), notify_per_hour=4)
    for _ in range(5):
        plant.file()
        assert plant.send(hook.url(), notify_per_hour=4).messages == 0, "the last of the hour is an alarm's"
    assert not plant.is_due
    plant.alarm()
    plant.send(hook.url(), notify_per_hour=4)
    assert "heading" in hook.titles[-1]
    plant.alarm(1)
    assert plant.send(hook.url(), notify_per_hour=4).messages == 0, "four an hour are four"
    assert len(hook.got) == 4
    plant.later(minutes=61)
    assert plant.is_due
    plant.send(hook.url(), notify_per_hour=4)
    assert hook.titles[4:] == ["north: 1 alarm, 5 bad files"]


def test_what_somebody_knows_of_is_not_sent(plant: Plant, hook: Webhook) -> None:
    seen, snoozed, over = plant.alarm(0), plant.alarm(1), plant.alarm(2)
    plant.change(
        "UPDATE alarm SET acknowledged_at = clock_timestamp(), acknowledged_by = 'anna' WHERE id = :id", id=seen
    )
    plant.change("UPDATE alarm SET snoozed_until = clock_timestamp() + interval '1 hour' WHERE id = :id", id=snoozed)
    plant.close(over)
    plant.send(hook.url())
    assert hook.titles == ["north: mill-3 was heading for failure, over"]
    assert "Over since" in hook.got[0]["message"]
    assert "What to do" not in hook.got[0]["message"]
    plant.change("UPDATE alarm SET snoozed_until = NULL, acknowledged_at = NULL, acknowledged_by = NULL")
    assert plant.send(hook.url()).messages == 0


def test_an_alarm_acknowledged_while_it_waits_is_let_go(plant: Plant, hook: Webhook) -> None:
    alarm = plant.alarm()
    hook.mood = "500"
    plant.send(hook.url())
    plant.change("UPDATE alarm SET acknowledged_at = now(), acknowledged_by = 'anna' WHERE id = :id", id=alarm)
    hook.mood = "ok"
    plant.later(minutes=2)
    assert plant.send(hook.url()).messages == 0
    assert plant.states() == [("not needed", 1)]
    assert not plant.is_due


def test_the_same_hopeless_file_over_and_over_is_told_once(plant: Plant, hook: Webhook) -> None:
    for number in range(3):
        plant.refused(name="export.csv", content="same", inode=100 + number)
        plant.send(hook.url())
    plant.refused(name="export.csv", content="changed", inode=200)
    plant.send(hook.url())
    assert hook.titles == ["north: file export.csv was refused"] * 2


def test_after_days_without_a_way_out_the_oldest_are_only_counted(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    open_alarm = plant.alarm(0)
    plant.close(plant.alarm(1))
    for _ in range(40):
        plant.file()
    plant.send(hook.url())
    plant.later(days=10)
    plant.file()
    hook.mood = "ok"
    done = plant.send(hook.url())
    assert (done.messages, done.notices) == (1, 43)
    text = hook.got[0]["message"]
    assert "41 older messages" in text
    assert text.count("\n- ") == 2, "the alarm that goes on, and what is news"
    assert "mill-1" in text
    assert open_alarm
    assert hook.titles == ["north: 1 alarm, 1 bad file"]


def test_what_waited_for_a_month_is_given_up(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    plant.file()
    plant.send(hook.url())
    plant.later(days=31)
    hook.mood = "ok"
    assert plant.send(hook.url()).messages == 0
    assert plant.states() == [("given up", 1)]
    assert not plant.is_due


def test_a_target_that_is_removed_gets_nothing_any_more(plant: Plant, hook: Webhook, other: Webhook) -> None:
    hook.mood = "500"
    plant.alarm()
    plant.send(hook.url(), other.url())
    hook.mood = "ok"
    plant.later(minutes=2)
    assert plant.send(other.url()).waiting == 0
    assert plant.states() == [("given up", 1), ("sent", 1)]
    plant.send(hook.url(), other.url())
    assert (len(hook.got), len(other.got)) == (0, 1)


def test_what_nobody_was_told_goes_to_the_target_that_replaced_the_dead_one(
    plant: Plant, hook: Webhook, other: Webhook
) -> None:
    hook.mood = "404"
    plant.alarm()
    plant.send(hook.url())
    plant.send(other.url())
    assert len(other.got) == 1
    hook.mood = "ok"
    plant.send(hook.url())
    assert hook.got == []


def test_a_target_that_comes_back_gets_what_it_never_got(plant: Plant, hook: Webhook, other: Webhook) -> None:
    hook.mood = other.mood = "500"
    plant.alarm()
    for url in (hook.url(), other.url()):
        plant.send(url)
        plant.later(minutes=2)
    hook.mood = "ok"
    assert plant.send(hook.url()).messages == 1


def test_a_wrong_line_spoils_no_other_and_loses_nothing(plant: Plant, hook: Webhook, other: Webhook) -> None:
    plant.alarm()
    other.mood = "500"
    plant.send(hook.url(), other.url())
    plant.file()
    done = plant.send(hook.url(), f"alam={other.url()}")
    assert len(hook.got) == 2
    assert ["Line 2" in error for error in done.errors] == [True]
    assert "s3cr3t" not in done.errors[0]
    other.mood = "ok"
    plant.later(minutes=2)
    plant.send(hook.url(), other.url())
    assert len(other.got) == 1, "what waited for it while its line was wrong was not given up"


def test_while_the_only_line_is_wrong_everything_waits(plant: Plant, hook: Webhook) -> None:
    plant.alarm()
    assert plant.send(f"all={hook.url()}").waiting == 1
    assert not plant.is_due, "it is not asked about every minute"
    plant.later(minutes=11)
    assert plant.is_due
    plant.send(hook.url())
    assert len(hook.got) == 1


def test_a_target_added_later_gets_what_happens_from_now_on(plant: Plant, hook: Webhook, other: Webhook) -> None:
    plant.alarm()
    plant.send(hook.url())
    plant.alarm(1)
    plant.send(hook.url(), other.url())
    assert (len(hook.got), len(other.got)) == (2, 1)


def test_two_senders_at_once_tell_nothing_twice(plant: Plant, hook: Webhook) -> None:
    hook.mood = "slow"
    start = threading.Barrier(4)

    def work(_: int) -> notify.Sent:
        start.wait()
        return plant.send(hook.url())

    for machine in range(3):
        plant.alarm(machine)
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(work, range(4)))
    assert sum(one.messages for one in done) == 3
    assert Counter(hook.titles).most_common(1)[0][1] == 1
    assert sum(one.busy for one in done) == 3
    assert plant.send(hook.url()).busy is False, "the lock went with its session"


def test_what_happens_during_a_pass_is_told_by_it(plant: Plant, hook: Webhook, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was told that another is sending need not come again."""
    original = notices.mark_sent
    meanwhile = [lambda: plant.alarm(1)]

    def mark(*arguments: Any) -> None:
        original(*arguments)
        if meanwhile:
            meanwhile.pop()()

    monkeypatch.setattr(notices, "mark_sent", mark)
    plant.alarm(0)
    assert plant.send(hook.url()).messages == 2


def test_killed_between_sending_and_marking_repeats_that_message_alone(
    plant: Plant, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    for machine in range(3):
        plant.alarm(machine)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(notices, "mark_sent", die)
        with pytest.raises(KeyboardInterrupt):
            plant.send(hook.url())
    assert len(hook.got) == 1
    plant.send(hook.url())
    assert sorted(Counter(hook.titles).values()) == [1, 1, 2]


def test_a_database_that_goes_away_in_the_middle_ends_the_pass(
    plant: Plant, hook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lock went with the session, so another may be sending: nothing more goes out."""
    for machine in range(3):
        plant.alarm(machine)
    original = notices.mark_sent

    def mark(*arguments: Any) -> None:
        original(*arguments)
        with engines.transaction(plant.engine) as conn:
            conn.exec_driver_sql(
                "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()"
            )

    with monkeypatch.context() as patch:
        patch.setattr(notices, "mark_sent", mark)
        with pytest.raises(Exception, match="reached"):
            plant.send(hook.url())
    assert len(hook.got) == 1
    plant.send(hook.url())
    assert len(hook.got) == 4


def test_a_clock_that_ran_ahead_does_not_silence_the_box(plant: Plant, hook: Webhook) -> None:
    hook.mood = "500"
    plant.file()
    plant.send(hook.url())
    plant.later(days=-300)
    hook.mood = "ok"
    plant.event()
    assert plant.send(hook.url()).messages == 2


def test_a_cause_that_was_removed_is_not_told(plant: Plant, hook: Webhook) -> None:
    event = plant.event()
    plant.change("DELETE FROM event WHERE id = :id", id=event)
    assert plant.send(hook.url()).messages == 0
    assert not plant.is_due
