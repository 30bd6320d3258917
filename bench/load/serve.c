// The application: answers GET with a short body, takes PUT bodies and forgets them. Small enough not to be what is measured.
#define _GNU_SOURCE
#include "net.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_FDS = 1 << 17, MAX_HEAD = 4096, READ_SIZE = 1 << 18 };

// Of one connection: the part of a head that came so far, and whether a PUT's body follows, which is never looked at.
struct connection {
  char *head;
  int length;
  int listens;
  int swallows;
};

static struct connection connections[MAX_FDS];
static char input[READ_SIZE];

#define BODY "hello from a small application behind the proxies, as long as a short JSON answer is\n"
#define ANSWER "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 85\r\n"
_Static_assert(sizeof BODY - 1 == 85, "content-length");
static const char keeping[] = ANSWER "\r\n" BODY;
static const char closing[] = ANSWER "connection: close\r\n\r\n" BODY;

static void forget(int fd) {
  free(connections[fd].head);
  memset(&connections[fd], 0, sizeof connections[fd]);
  close(fd);
}

static void accept_all(int epoll, int listener) {
  for (int fd, on = 1; (fd = accept4(listener, 0, 0, SOCK_NONBLOCK)) >= 0;) {
    if (fd >= MAX_FDS) fail("too many connections");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    watch(epoll, fd, EPOLLIN | EPOLLRDHUP);
  }
}

// Answers every whole head in the text and keeps the rest. 0: the connection is over.
static int answer_heads(int fd, char *text, int length) {
  struct connection *connection = &connections[fd];
  int at = 0;
  for (;;) {
    char *end = memmem(text + at, (size_t)(length - at), "\r\n\r\n", 4);
    if (!end) break;
    *end = 0;
    if (text[at] == 'P') {
      connection->swallows = 1;
      return 1;
    }
    int closes = strcasestr(text + at, "connection: close") != 0;
    const char *reply = closes ? closing : keeping;
    size_t size = closes ? sizeof closing - 1 : sizeof keeping - 1;
    if (send(fd, reply, size, MSG_NOSIGNAL) != (ssize_t)size) return 0;
    if (closes) return 0;
    at = (int)(end - text) + 4;
  }
  int rest = length - at;
  if (rest == 0) {
    connection->length = 0;
    return 1;
  }
  if (rest > MAX_HEAD) return 0;
  if (!connection->head) connection->head = malloc(MAX_HEAD);
  memmove(connection->head, text + at, (size_t)rest);
  connection->length = rest;
  return 1;
}

static void read_connection(int fd) {
  struct connection *connection = &connections[fd];
  if (connection->swallows) {
    // Thrown away by the kernel: copying would cost as much as a proxy's relaying.
    ssize_t got = recv(fd, input, sizeof input, MSG_TRUNC);
    if (got == 0 || (got < 0 && errno != EAGAIN)) forget(fd);
    return;
  }
  int before = connection->length;
  if (before) memcpy(input, connection->head, (size_t)before);
  ssize_t got = recv(fd, input + before, sizeof input - (size_t)before - 1, 0);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0 || !answer_heads(fd, input, before + (int)got)) forget(fd);
}

int serve(int first_port, int last_port) {
  int epoll = start_epoll();
  for (int port = first_port; port <= last_port; port++) {
    int listener = listen_on(port);
    connections[listener].listens = 1;
    watch(epoll, listener, EPOLLIN);
  }
  struct epoll_event events[256];
  for (;;) {
    int count = epoll_wait(epoll, events, 256, -1);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      if (connections[fd].listens) accept_all(epoll, fd);
      else read_connection(fd);
    }
  }
}
