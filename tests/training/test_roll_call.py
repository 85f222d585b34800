"""All processes come, or those that did not are named."""

import threading

import pytest
from support.ports import free_port

from jaxharm.errors import InputError
from jaxharm.training.roll_call import call_roll


def called(count, ranks, limit=20.0):
    """What each of these processes is told: None or its error."""
    address, told = f"localhost:{free_port()}", {}

    def one(rank):
        try:
            told[rank] = call_roll(address, count, rank, limit)
        except InputError as error:
            told[rank] = str(error)

    threads = [threading.Thread(target=one, args=(rank,)) for rank in ranks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_all_go_on_when_all_are_there():
    assert called(4, [3, 1, 0, 2]) == dict.fromkeys(range(4))
    assert called(1, [0]) == {0: None}


def test_those_that_did_not_come_are_named_to_all():
    told = called(4, [0, 2], limit=1.0)
    for rank in (0, 2):
        assert told[rank].startswith("of 4 processes, these did not come within 1 s: 1, 3; start")


def test_a_process_0_that_does_not_answer_is_named():
    (said,) = called(2, [1], limit=0.5).values()
    assert said.startswith("process 0 does not answer at localhost:")
    assert "within 0.5 s" in said


@pytest.mark.parametrize("address", ["localhost", "host:port", ":123"])
def test_an_address_without_host_or_port_is_refused(address):
    with pytest.raises(InputError, match="is not HOST:PORT"):
        call_roll(address, 2, 1, 1.0)


def test_a_port_that_is_taken_is_named():
    import socket

    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(InputError, match=f"process 0 cannot listen at port {port}"):
            call_roll(f"localhost:{port}", 2, 0, 1.0)
