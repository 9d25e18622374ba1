"""A hospital that was cut off in the midst of a request is missed before it is back."""

import pytest

from thyroid_fl.client.supernode.contact import Contact, write_contact
from thyroid_fl.client.supernode.flower import MISSED_S, stay_away_until_missed


@pytest.mark.parametrize(("is_working", "pauses"), [(True, [MISSED_S]), (False, [])])
def test_it_stays_away_only_after_a_request_was_cut_off(tmp_path, is_working, pauses):
    path = tmp_path / "contact.json"
    write_contact(path, Contact(time_s=1.0, is_working=is_working))
    seen = []

    stay_away_until_missed(path, seen.append)

    assert seen == pauses


def test_a_first_connection_waits_for_nothing(tmp_path):
    seen = []

    stay_away_until_missed(tmp_path / "contact.json", seen.append)

    assert seen == []
