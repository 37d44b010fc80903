"""A TCP relay that holds every byte back for half of a round trip in each direction: `relay.py LISTEN-PORT HOST PORT RTT-MS`.

Bandwidth is not touched and nothing is lost. It serves until its standard input closes, so it never outlives who started it, and
then prints what it counted of the last connection: network waits, bytes up, bytes down.

A wait is counted where the client speaks again at least three quarters of a round trip after it began to speak the time before:
what it says then can only answer what came meanwhile. Window adjustments of SSH, which answer nothing, are left out by their size.
With a round trip that is long beside the work on both ends (2 s, say) the count is exact. TCP's own hand-shake is counted too; its
slow start is not, since both sides talk to this machine.
"""

import asyncio
import socket
import sys


# A packet with one small message, as SSH's usual ciphers make it.
SMALL = 36


class Count:
    """Of one connection, as the client's end sees it."""

    def __init__(self, rtt):
        self.rtt, self.waits, self.last, self.up, self.down = rtt, 1, None, 0, 0

    def spoke(self, now, size):
        self.up += size
        if size <= SMALL:
            return
        if self.last is None or now - self.last >= 0.75 * self.rtt:
            self.waits += self.last is not None
            self.last = now

    def heard(self, _now, size):
        self.down += size


async def carry(reader, writer, delay, note):
    """Bytes leave `delay` seconds after they came, in order; a slow receiver stops the reading, not the clock."""
    loop = asyncio.get_running_loop()
    queue = asyncio.Queue(maxsize=256)

    async def send():
        while True:
            due, data = await queue.get()
            wait = due - loop.time()
            if wait > 0:
                await asyncio.sleep(wait)
            if not data:
                if writer.can_write_eof():
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()

    sender = asyncio.ensure_future(send())
    try:
        while True:
            data = await reader.read(65536)
            note(loop.time(), len(data))
            await queue.put((loop.time() + delay, data))
            if not data:
                break
        await sender
    except (OSError, asyncio.CancelledError):
        sender.cancel()


def prompt(writer):
    writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


async def serve(port, host, to, rtt):
    counts = []

    async def accept(reader, writer):
        count = Count(rtt)
        counts.append(count)
        prompt(writer)
        await asyncio.sleep(rtt)  # the hand-shake of TCP is a round trip too, and the kernel answered it at once
        try:
            far_reader, far_writer = await asyncio.open_connection(host, to)
        except OSError:
            writer.close()
            return
        prompt(far_writer)
        try:
            await asyncio.gather(carry(reader, far_writer, rtt / 2, count.spoke), carry(far_reader, writer, rtt / 2, count.heard))
        except asyncio.CancelledError:
            pass  # we are told to stop
        for end in (writer, far_writer):
            end.close()

    server = await asyncio.start_server(accept, "127.0.0.1", port)
    print(server.sockets[0].getsockname()[1], flush=True)
    async with server:
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    if counts:
        print(counts[-1].waits, counts[-1].up, counts[-1].down, flush=True)


if __name__ == "__main__":
    listen, host, to, rtt = sys.argv[1:]
    try:
        asyncio.run(serve(int(listen), host, int(to), float(rtt) / 1000))
    except KeyboardInterrupt:
        pass
