"""Records say what they were made by."""

from benchmarks import records

from tercet.run_folder import machine


def test_a_record_names_machine_commit_and_versions_but_keeps_those_of_a_run_made_before(monkeypatch, tmp_path):
    monkeypatch.setattr(records, "FOLDER", tmp_path)
    records.append("made", {"seed": 0})
    records.append("made", {"seed": 1, "machine": {"cores": 64}, "commit": "of then"})
    here, before = records.read("made")
    assert here["machine"] == machine()
    assert here["commit"] == records.COMMIT
    assert (before["machine"], before["commit"]) == ({"cores": 64}, "of then")
    assert here["versions"]["torch"] == before["versions"]["torch"]
