// Opens connections, makes one request on each, and keeps them until stdin ends.
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { AT_ONCE = 64, MAX_FDS = 1 << 17 };

static char sent[MAX_FDS];
static char answered[MAX_FDS];

int hold(struct target target, int connections) {
  int epoll = start_epoll(), started = 0, open = 0;
  char input[4096];
  struct epoll_event events[256];
  for (; started < connections && started < AT_ONCE; started++) start_connection(epoll, &target, (unsigned long)started);
  double deadline = now() + 60;
  while (open < connections) {
    if (now() > deadline) {
      fprintf(stderr, "only %d of %d connections are open\n", open, connections);
      return 1;
    }
    int count = epoll_wait(epoll, events, 256, 1000);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (!sent[fd] && (events[i].events & EPOLLOUT)) {
        if (send(fd, KEEP_ALIVE_GET, sizeof KEEP_ALIVE_GET - 1, MSG_NOSIGNAL) < 0) fail("send");
        sent[fd] = 1;
      }
      ssize_t got = recv(fd, input, sizeof input, 0);
      if (got < 0 && errno == EAGAIN) continue;
      if (got <= 0) fail("a held connection ended");
      if (answered[fd]) continue;
      answered[fd] = 1;
      open++;
      if (started < connections) start_connection(epoll, &target, (unsigned long)started++);
    }
  }
  printf("{\"open\":%d}\n", open);
  fflush(stdout);
  while (read(0, input, sizeof input) > 0) continue;
  return 0;
}
