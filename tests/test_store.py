import pytest

from qexp.store import without_password
from tests.conftest import Qexp


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://qexp:s3cret@db:5432/mlflow", "postgresql://qexp:***@db:5432/mlflow"),
        ("https://:s3cret@host", "https://:***@host"),
        ("request to http://me:a:b@host:5000/api failed", "request to http://me:***@host:5000/api failed"),
        ("sqlite:////home/me:you@work/mlflow.db", "sqlite:////home/me:you@work/mlflow.db"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://host:5000/a@b", "http://host:5000/a@b"),
    ],
)
def test_passwords_are_hidden(text: str, shown: str) -> None:
    assert without_password(text) == shown


def test_a_password_is_in_no_message(qexp: Qexp) -> None:
    server = {"MLFLOW_TRACKING_URI": "http://me:s3cret@127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    done = qexp("dataset=synthetic", **server)
    assert done.returncode == 2
    assert "MLFLOW_TRACKING_URI=http://me:***@127.0.0.1:9" in done.stderr
    assert "s3cret" not in done.stdout + done.stderr
