// New connections: each makes one request and is closed, by us or by the other side.
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 1 << 17 };

static char sent[MAX_FDS];
static char answered[MAX_FDS];
static char input[4096];

int churn(struct target target, int concurrency, double seconds, int server_closes) {
  const char *request = server_closes ? CLOSING_GET : KEEP_ALIVE_GET;
  size_t size = strlen(request);
  int epoll = start_epoll();
  unsigned long started = 0, done = 0, all = 0, errors = 0;
  for (; started < (unsigned long)concurrency; started++) start_connection(epoll, &target, started);
  double warm = now() + seconds * 0.25, end = warm + seconds, time = now();
  struct epoll_event events[256];
  while (time < end || (done == 0 && time < end + PATIENCE)) {
    int count = epoll_wait(epoll, events, 256, 100);
    time = now();
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd, over = 0, failed = 0;
      if (!sent[fd] && (events[i].events & EPOLLOUT)) {
        if (send(fd, request, size, MSG_NOSIGNAL) == (ssize_t)size) sent[fd] = 1;
        else over = failed = 1;
      }
      while (!over) {
        ssize_t got = recv(fd, input, sizeof input, 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got > 0) answered[fd] = 1;
        // An answer is one small segment: who closes first closes when it is there.
        over = got <= 0 || !server_closes;
        failed = !answered[fd];
      }
      if (!over) continue;
      errors += (unsigned long)failed;
      all++;
      if (!failed && time >= warm) done++;
      close(fd);
      sent[fd] = answered[fd] = 0;
      start_connection(epoll, &target, started++);
    }
  }
  if (done == 0) fprintf(stderr, "no connection was answered\n");
  printf("{\"connections\":%lu,\"seconds\":%.4f,\"allConnections\":%lu,\"errors\":%lu}\n", done, time - warm, all, errors);
  return done == 0;
}
