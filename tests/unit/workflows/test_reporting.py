from promptmill.workflows.reporting import files_of


def test_the_files_stand_beside_one_another(tmp_path):
    assert [path.name for path in files_of(tmp_path / "m_d.jsonl")] == [
        "m_d.jsonl", "m_d_processed.jsonl", "m_d_summary.json",
    ]  # fmt: skip
