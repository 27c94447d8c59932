"""Run as a program: a Ray cluster of two workers that lives until standard input is closed.

Prints its address and that of its client server. A process of its own: Ray does not wait for the processes that it
starts, which the tests' own process would be warned of.
"""

import socket
import sys


def main():
    import ray
    from ray.util.client.server.server import serve

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    server = serve("127.0.0.1", port)
    print(context.address_info["gcs_address"], f"ray://127.0.0.1:{port}", flush=True)
    sys.stdin.read()
    server.grpc_server.stop(0)
    ray.shutdown()


if __name__ == "__main__":
    main()
