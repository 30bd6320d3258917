// Bulk data: the endless body of a PUT, on some connections at once.
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

enum { MAX_FDS = 1 << 17, WRITE_SIZE = 1 << 17 };

static const char head[] = "PUT /sink HTTP/1.1\r\nhost: server\r\ncontent-length: 1099511627776\r\n\r\n";
static char began[MAX_FDS];
static char data[WRITE_SIZE];

int upload(struct target target, int streams, double seconds) {
  memset(data, 'a', sizeof data);
  int epoll = start_epoll();
  for (int i = 0; i < streams; i++) {
    int fd = start_connection(epoll, &target, (unsigned long)i);
    struct epoll_event event = {.events = EPOLLOUT | EPOLLIN, .data = {.fd = fd}};
    epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event);
  }
  unsigned long all = 0, counted = 0;
  // Buffers on the way fill up first.
  double warm = now() + seconds * 0.25, end = warm + seconds, time = now();
  struct epoll_event events[64];
  while (time < end || (counted == 0 && time < end + PATIENCE)) {
    int count = epoll_wait(epoll, events, 64, 100);
    time = now();
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (events[i].events & (EPOLLIN | EPOLLERR | EPOLLHUP)) {
        ssize_t got = recv(fd, data, 80, 0);
        fprintf(stderr, "the upload was ended: %.*s\n", (int)(got > 0 ? got : 0), data);
        return 1;
      }
      const char *from = began[fd] ? data : head;
      ssize_t written = send(fd, from, began[fd] ? sizeof data : sizeof head - 1, MSG_NOSIGNAL);
      if (written < 0 && errno == EAGAIN) continue;
      if (written < 0) fail("send");
      began[fd] = 1;
      all += (unsigned long)written;
      if (time >= warm) counted += (unsigned long)written;
    }
  }
  if (counted == 0) fprintf(stderr, "no byte was taken\n");
  printf("{\"bytes\":%lu,\"seconds\":%.4f,\"allBytes\":%lu}\n", counted, time - warm, all);
  return counted == 0;
}
