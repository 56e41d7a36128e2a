"""What every kind of secret must do on the way back, whatever it rotates."""

import pytest

from blocks.errors import SecretIsBad
from blocks.secrets.interface import RotatedSecret
from blocks.sinks.interface import Values


class WayBack:
    @pytest.mark.parametrize("is_retired", [False, True])
    def test_the_old_one_is_accepted_and_the_new_one_refused(
        self, secret: RotatedSecret, old: Values, is_retired: bool
    ) -> None:
        new = secret.make(old)
        secret.install(old, new)
        if is_retired:
            secret.retire(old)
        for _ in range(2):
            secret.reinstate(old)
            secret.withdraw(old)
            secret.prove(old)
            with pytest.raises(SecretIsBad):
                secret.prove(new)
