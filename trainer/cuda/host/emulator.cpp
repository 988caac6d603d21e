// The fibers behind emulator.h, and the C interface that `trainer`'s tests open: launch a kernel by its name.
#include "emulator.h"

#include <ucontext.h>

#include <string>
#include <unordered_map>
#include <vector>

thread_local Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {
constexpr std::size_t kStackBytes = 256 << 10;
constexpr std::size_t kSharedBytes = 228 << 10;
constexpr std::size_t kSharedGuardBytes = 4 << 10;
constexpr unsigned char kPoison = 0xff;  // NaN in every element type

std::unordered_map<std::string, EmulatedKernel>& kernels() {
  static std::unordered_map<std::string, EmulatedKernel> table;
  return table;
}

struct Fiber {
  ucontext_t context;
  std::vector<unsigned char> stack;
  Dim3 index;
  bool done = false;
  const bool* waits_on = nullptr;  // runs again once this is true
};

// A place where `wanted` fibers meet: the last to come opens it for all.
struct Meeting {
  unsigned wanted = 0, arrived = 0;
  bool open[2] = {false, false};
  unsigned phase = 0;
};

struct Block {
  std::vector<Fiber> fibers;
  Meeting all;
  std::vector<Meeting> warps;
  std::vector<unsigned char> exchange;
  std::vector<unsigned char> shared;
  ucontext_t scheduler;
  Fiber* running = nullptr;
  void (*call)(void**) = nullptr;
  void** arguments = nullptr;
};
thread_local Block* block = nullptr;

void fail(const char* kernel, const char* problem) {
  std::fprintf(stderr, "emulated kernel %s: %s\n", kernel, problem);
  std::abort();
}

void meet(Meeting& meeting) {
  unsigned phase = meeting.phase;
  if (++meeting.arrived == meeting.wanted) {
    meeting.arrived = 0;
    meeting.open[phase ^ 1] = false;
    meeting.phase = phase ^ 1;
    meeting.open[phase] = true;
    return;
  }
  Fiber* self = block->running;
  self->waits_on = &meeting.open[phase];
  swapcontext(&self->context, &block->scheduler);
}

void enter() {
  block->call(block->arguments);
  block->running->done = true;
  swapcontext(&block->running->context, &block->scheduler);
}

Meeting& own_warp() { return block->warps[threadIdx.x / 32]; }

void start(Fiber& fiber) {
  getcontext(&fiber.context);
  fiber.context.uc_stack.ss_sp = fiber.stack.data();
  fiber.context.uc_stack.ss_size = fiber.stack.size();
  fiber.context.uc_link = nullptr;
  makecontext(&fiber.context, enter, 0);
  fiber.done = false;
  fiber.waits_on = nullptr;
}

// Every fiber that can run does, in an order drawn anew for each round.
void run_block(const char* name, uint64_t& order) {
  for (;;) {
    std::size_t ran = 0, done = 0, count = block->fibers.size();
    order = order * 6364136223846793005ull + 1442695040888963407ull;
    std::size_t first = (order >> 33) % count;
    bool backwards = (order >> 32) & 1;
    for (std::size_t i = 0; i < count; i++) {
      std::size_t place = (first + i) % count;
      Fiber& fiber = block->fibers[backwards ? count - 1 - place : place];
      if (fiber.done) { done++; continue; }
      if (fiber.waits_on && !*fiber.waits_on) continue;
      fiber.waits_on = nullptr;
      block->running = &fiber;
      threadIdx = fiber.index;
      swapcontext(&block->scheduler, &fiber.context);
      ran++;
    }
    if (done == count) return;
    if (ran == 0) fail(name, "deadlock: some threads miss a barrier that others wait at");
  }
}
}  // namespace

void emulator_register(EmulatedKernel kernel) { kernels()[kernel.name] = kernel; }
unsigned char* emulator_shared() { return block->shared.data(); }
void __syncthreads() { meet(block->all); }
void __syncwarp() { meet(own_warp()); }
const unsigned char* warp_exchange(const void* mine, unsigned bytes) {
  unsigned char* table = &block->exchange[threadIdx.x / 32 * 32 * 64];
  std::memcpy(table + 64 * (threadIdx.x % 32), mine, bytes);
  __syncwarp();
  return table;
}
void warp_release() { __syncwarp(); }

extern "C" {
// 0 where the kernel ran; 1 unknown; 2 another number of parameters; 3 a parameter of another size; 4 block size.
int emulator_launch(const char* name, const unsigned* grid, unsigned threads, unsigned shared_bytes, void** arguments,
                    const unsigned* sizes, unsigned parameters, uint64_t order) {
  auto found = kernels().find(name);
  if (found == kernels().end()) return 1;
  const EmulatedKernel& kernel = found->second;
  if (parameters != kernel.parameters) return 2;
  for (unsigned i = 0; i < parameters; i++)
    if (sizes[i] != kernel.sizes[i]) return 3;
  if (threads == 0 || threads > 1024 || threads % 32 || shared_bytes > kSharedBytes) return 4;
  Block own;
  own.fibers.resize(threads);
  for (Fiber& fiber : own.fibers) fiber.stack.resize(kStackBytes);
  own.warps.resize(threads / 32);
  own.exchange.resize(threads * 64);
  own.call = kernel.call;
  own.arguments = arguments;
  block = &own;
  blockDim = {threads, 1, 1};
  gridDim = {grid[0], grid[1], grid[2]};
  for (unsigned z = 0; z < grid[2]; z++)
    for (unsigned y = 0; y < grid[1]; y++)
      for (unsigned x = 0; x < grid[0]; x++) {
        blockIdx = {x, y, z};
        own.shared.assign(shared_bytes + kSharedGuardBytes, kPoison);
        own.all = Meeting{threads};
        for (Meeting& warp : own.warps) warp = Meeting{32};
        for (unsigned i = 0; i < threads; i++) {
          own.fibers[i].index = {i, 0, 0};
          start(own.fibers[i]);
        }
        run_block(name, order);
        for (unsigned i = 0; i < kSharedGuardBytes; i++)
          if (own.shared[shared_bytes + i] != kPoison) fail(name, "wrote beyond its shared memory");
      }
  block = nullptr;
  return 0;
}

unsigned emulator_kernels() { return unsigned(kernels().size()); }
}
