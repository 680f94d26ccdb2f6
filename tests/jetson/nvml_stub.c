/* Stands in for libnvidia-ml.so.1: the calls of jetson/telemetry_nvml.ts with the types of nvml.h.
 * CALYPTE_TEST_NVML=poor knows nothing. */
#include <stdlib.h>
#include <string.h>

typedef int nvmlReturn_t;
typedef struct device *nvmlDevice_t;
typedef struct {
  unsigned int gpu, memory;
} nvmlUtilization_t;
typedef struct {
  unsigned long long total, free, used;
} nvmlMemory_t;

enum { SUCCESS = 0, INVALID_ARGUMENT = 2, NOT_SUPPORTED = 3 };

static struct device *const kDevice = (struct device *)0x7fffabcdef01;
static int opened;

static nvmlReturn_t known(nvmlDevice_t device) {
  if (opened != 1 || device != kDevice) return INVALID_ARGUMENT;
  const char *kind = getenv("CALYPTE_TEST_NVML");
  return kind != NULL && strcmp(kind, "poor") == 0 ? NOT_SUPPORTED : SUCCESS;
}

static nvmlReturn_t give(nvmlDevice_t device, unsigned int *out, unsigned int value) {
  nvmlReturn_t code = known(device);
  *out = code == SUCCESS ? value : 0xdeadbeef;
  return code;
}

nvmlReturn_t nvmlInit_v2(void) {
  opened++;
  return SUCCESS;
}
nvmlReturn_t nvmlShutdown(void) {
  opened--;
  return SUCCESS;
}
nvmlReturn_t nvmlSystemGetDriverVersion(char *text, unsigned int length) {
  strncpy(text, "580.65.06", length);
  return SUCCESS;
}
nvmlReturn_t nvmlSystemGetCudaDriverVersion_v2(int *version) {
  *version = 13010;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetHandleByIndex_v2(unsigned int index, nvmlDevice_t *device) {
  if (index > 0) return INVALID_ARGUMENT;
  *device = kDevice;
  return SUCCESS;
}
nvmlReturn_t nvmlDeviceGetUtilizationRates(nvmlDevice_t device, nvmlUtilization_t *rates) {
  rates->memory = 7;
  return give(device, &rates->gpu, 83);
}
nvmlReturn_t nvmlDeviceGetTemperature(nvmlDevice_t device, int sensor, unsigned int *out) {
  return sensor == 0 ? give(device, out, 61) : INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetTemperatureThreshold(nvmlDevice_t device, int which, unsigned int *out) {
  return which == 1 ? give(device, out, 95) : INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetPowerUsage(nvmlDevice_t device, unsigned int *out) { return give(device, out, 123456); }
nvmlReturn_t nvmlDeviceGetClockInfo(nvmlDevice_t device, int which, unsigned int *out) {
  return which == 1 ? give(device, out, 1980) : which == 2 ? give(device, out, 3201) : INVALID_ARGUMENT;
}
nvmlReturn_t nvmlDeviceGetMemoryInfo(nvmlDevice_t device, nvmlMemory_t *memory) {
  memory->total = 6ull << 32;
  memory->used = 5ull << 32;
  memory->free = 1ull << 32;
  return known(device);
}
nvmlReturn_t nvmlDeviceGetFanSpeed(nvmlDevice_t device, unsigned int *out) { return give(device, out, 42); }
