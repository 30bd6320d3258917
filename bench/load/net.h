// What the parts of the load generator share: sockets, epoll, time, samples.
#ifndef HAIRPIN_BENCH_NET_H
#define HAIRPIN_BENCH_NET_H

#include <stddef.h>
#include <sys/epoll.h>

// An address and the ports of one application, used in turn so that closed connections do not fill a port's tuples.
struct target {
  const char *ip;
  int first_port;
  int last_port;
};

// "IP" and "8000-8015" or "8000".
struct target parse_target(const char *ip, const char *ports);

double now(void);
void fail(const char *what);
int listen_on(int port);
// A non-blocking connection that is being made, registered for both directions. Exits when the kernel refuses.
int start_connection(int epoll, const struct target *target, unsigned long index);
int start_epoll(void);
void watch(int epoll, int fd, unsigned events);

// How long a measurement goes on past its end while nothing was counted: a machine may be too busy for one answer in time.
#define PATIENCE 20.0

// Latencies in seconds; grows as needed.
struct samples {
  double *values;
  size_t count;
  size_t room;
};
void add_sample(struct samples *samples, double seconds);
// Sorts. 0 when there are none.
double percentile(struct samples *samples, double part);

int serve(int first_port, int last_port);
int requests(struct target target, int connections, double seconds);
int churn(struct target target, int concurrency, double seconds, int server_closes);
int upload(struct target target, int streams, double seconds);
int hold(struct target target, int connections);

// One GET as small clients send it.
#define GET_HEAD "GET /hello HTTP/1.1\r\nhost: server\r\nuser-agent: hairpin-bench/1\r\naccept: */*\r\n"
#define KEEP_ALIVE_GET GET_HEAD "\r\n"
#define CLOSING_GET GET_HEAD "connection: close\r\n\r\n"

#endif
