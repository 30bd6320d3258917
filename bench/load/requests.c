// Closed loop over keep-alive connections: the next request of a connection follows the answer to the last.
#include "net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_ANSWER = 4096, MAX_FDS = 1 << 17 };

struct exchange {
  char answer[MAX_ANSWER];
  int length;
  int sent;
  double sent_at;
};

static struct exchange *exchanges[MAX_FDS];

// The length of the whole answer, or 0 while its head is not there.
static int answer_length(struct exchange *exchange) {
  exchange->answer[exchange->length] = 0;
  char *end = strstr(exchange->answer, "\r\n\r\n");
  if (!end) return 0;
  if (strncmp(exchange->answer, "HTTP/1.1 200", 12)) {
    fprintf(stderr, "answered: %.80s\n", exchange->answer);
    exit(1);
  }
  for (char *line = exchange->answer; line < end; line++)
    if ((*line == 'c' || *line == 'C') && !strncasecmp(line, "content-length:", 15))
      return (int)(end - exchange->answer) + 4 + atoi(line + 15);
  fprintf(stderr, "an answer without content-length\n");
  exit(1);
}

static void send_request(int fd) {
  struct exchange *exchange = exchanges[fd];
  if (send(fd, KEEP_ALIVE_GET, sizeof KEEP_ALIVE_GET - 1, MSG_NOSIGNAL) != sizeof KEEP_ALIVE_GET - 1) fail("send");
  exchange->sent = 1;
  exchange->length = 0;
  exchange->sent_at = now();
}

int requests(struct target target, int connections, double seconds) {
  int epoll = start_epoll();
  for (int i = 0; i < connections; i++) {
    int fd = start_connection(epoll, &target, (unsigned long)i);
    exchanges[fd] = calloc(1, sizeof(struct exchange));
  }
  struct samples samples = {0};
  // Connections, tunnels and compilers settle in the first part, which is not counted.
  double warm = now() + seconds * 0.25, end = warm + seconds;
  unsigned long all = 0;
  double time = now();
  struct epoll_event events[256];
  while (time < end || (samples.count == 0 && time < end + PATIENCE)) {
    int count = epoll_wait(epoll, events, 256, 100);
    for (int i = 0; i < count; i++) {
      int fd = events[i].data.fd;
      struct exchange *exchange = exchanges[fd];
      if (!exchange->sent && (events[i].events & EPOLLOUT)) send_request(fd);
      for (;;) {
        ssize_t got = recv(fd, exchange->answer + exchange->length, (size_t)(MAX_ANSWER - 1 - exchange->length), 0);
        if (got < 0 && errno == EAGAIN) break;
        if (got <= 0) fail("the connection ended");
        exchange->length += (int)got;
        int wanted = answer_length(exchange);
        if (wanted == 0 || exchange->length < wanted) continue;
        time = now();
        all++;
        if (time >= warm) add_sample(&samples, time - exchange->sent_at);
        send_request(fd);
      }
    }
    time = now();
  }
  if (samples.count == 0) fprintf(stderr, "no request was answered\n");
  printf("{\"requests\":%zu,\"seconds\":%.4f,\"allRequests\":%lu,\"p50Us\":%.1f,\"p99Us\":%.1f}\n", samples.count,
         time - warm, all, percentile(&samples, 0.5) * 1e6, percentile(&samples, 0.99) * 1e6);
  return samples.count == 0;
}
