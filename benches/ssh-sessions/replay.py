"""Hosts that answer from a record: `replay.py FOLDER COUNT`, on loopback addresses 127.77.1.1 and following, one port for all.

Each connection is served by a real `sshd -i`, so key exchange, login and channels cost what they cost; only what the host would
have looked up comes from FOLDER/answer. FOLDER also holds host_key, authorized_keys and sshd_config. Prints the port, serves until
its standard input closes.
"""

import asyncio
import shutil
import socket
import subprocess
import sys
from pathlib import Path


def addresses(count):
    return [f"127.77.{1 + n // 250}.{1 + n % 250}" for n in range(count)]


async def main(folder, count):
    sshd, children, listeners, port = shutil.which("sshd", path="/usr/sbin:/sbin:/usr/bin"), set(), [], 0
    loop = asyncio.get_running_loop()

    async def accept(listener):
        while True:
            connection, _ = await loop.sock_accept(listener)
            connection.setblocking(True)
            with connection:
                child = subprocess.Popen([sshd, "-i", "-f", Path(folder, "sshd_config")], stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
            children.add(child)
            for done in [c for c in children if c.poll() is not None]:
                children.discard(done)

    for address in addresses(count):
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((address, port))
        port = listener.getsockname()[1]
        listener.listen(16)
        listener.setblocking(False)
        listeners.append(loop.create_task(accept(listener)))
    print(port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)
    for task in listeners:
        task.cancel()
    for child in children:
        child.terminate()
        child.wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
