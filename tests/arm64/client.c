// A process with an inference of its own: ten requests of 5 ms each, once an engine listens.
#include "calypte_client.h"

#include <stdio.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count != 2) return 2;
  calypte_client *client = calypte_client_open(words[1]);
  if (client == NULL) return 3;
  for (int tries = 0; calypte_client_state(client) != CALYPTE_CLIENT_SERVED; ++tries) {
    if (tries == 6000) return 4;
    usleep(10000);
  }
  for (int request = 0; request < 10; ++request) {
    calypte_begin(client, 0);
    usleep(5000);
    calypte_end(client, CALYPTE_NO_STREAM);
    usleep(20000);
  }
  calypte_client_close(client);
  puts("10 requests");
  return 0;
}
