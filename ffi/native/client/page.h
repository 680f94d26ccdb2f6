/*
 * What do an engine and the process of an external critical task share? One page of memory, made by the engine, and a
 * socket, whose end is the end of the client. Plain C: both sides include it.
 *
 * The page is a ring of records with several producers (a thread of the client, and those that CUDA calls it back from)
 * and one consumer, the engine's dispatcher. Whatever lies on it is a claim, and is checked by who reads it.
 */
#ifndef CALYPTE_CLIENT_PAGE_H
#define CALYPTE_CLIENT_PAGE_H

#include <stdint.h>

#ifdef __cplusplus
#define CALYPTE_ALIGNED alignas(64)
#else
#define CALYPTE_ALIGNED _Alignas(64)
#endif

#define CALYPTE_CLIENT_MAGIC 0x54434c4359504143u /* "CAPYCLCT" */
#define CALYPTE_CLIENT_VERSION 1u
#define CALYPTE_CLIENT_RECORDS 128u

#define CALYPTE_CLIENT_BEGIN 1u
#define CALYPTE_CLIENT_END 2u
#define CALYPTE_CLIENT_EXPECT 3u

typedef struct calypte_client_record {
  uint32_t turn; /* 1 more than the record's position once it is whole; CALYPTE_CLIENT_RECORDS apart from that of the last */
  uint32_t kind;
  uint64_t time_ns; /* CLOCK_MONOTONIC: when it began or ended, or will begin */
  uint64_t sensor_ns;
  uint64_t number; /* of the client's request */
} calypte_client_record;

typedef struct calypte_client_page {
  uint64_t magic;
  uint32_t version;
  uint32_t reserved;
  CALYPTE_ALIGNED uint32_t head; /* positions handed out to producers */
  CALYPTE_ALIGNED uint32_t tail; /* positions read */
  CALYPTE_ALIGNED uint32_t asleep; /* 1: the engine has to be woken to read; who finds it clears it */
  CALYPTE_ALIGNED calypte_client_record records[CALYPTE_CLIENT_RECORDS];
} calypte_client_page;

/* Sent once by the engine, with the page, an eventfd to wake the engine by, and one that the engine wakes the client by. */
typedef struct calypte_client_hello {
  uint64_t magic;
  uint32_t version;
  uint32_t busy; /* 1: another process is this task's client; nothing comes with it */
} calypte_client_hello;

#endif
