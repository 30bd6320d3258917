// The load generator of the bench: in C so that it costs little beside what it measures. Prints one line of JSON.
//   serve PORTS | requests IP PORTS CONNECTIONS SECONDS | churn IP PORTS CONCURRENCY SECONDS client|server
//   upload IP PORTS STREAMS SECONDS | hold IP PORTS CONNECTIONS (until stdin ends)
#include "net.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int count, char **words) {
  signal(SIGPIPE, SIG_IGN);
  const char *task = count > 1 ? words[1] : "";
  if (!strcmp(task, "serve") && count == 3) {
    struct target target = parse_target("", words[2]);
    return serve(target.first_port, target.last_port);
  }
  if (count >= 5) {
    struct target target = parse_target(words[2], words[3]);
    int many = atoi(words[4]);
    if (!strcmp(task, "hold")) return hold(target, many);
    if (!strcmp(task, "requests") && count == 6) return requests(target, many, atof(words[5]));
    if (!strcmp(task, "upload") && count == 6) return upload(target, many, atof(words[5]));
    if (!strcmp(task, "churn") && count == 7)
      return churn(target, many, atof(words[5]), !strcmp(words[6], "server"));
  }
  fprintf(stderr, "usage: see main.c\n");
  return 64;
}
