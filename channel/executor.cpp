#include "channel/executor.hpp"

#include <utility>
#include <variant>

#include "channel/worker_pool.hpp"

namespace logpipe {

PoolExecutor::PoolExecutor(TaskGroup& group, WorkerPoolOptions options, std::size_t queue)
    : intake_(std::make_shared<Intake>()) {
  using Task = std::function<void()>;
  options.order = Order::none;
  auto [sender, receiver] = make_channel<Task>(queue);
  {
    MutexLock lock(intake_->mutex);
    intake_->tasks = std::move(sender);
  }
  run_worker_pool(
      group, std::move(receiver), group.context(), options,
      [](std::size_t) {
        return [](Task&& task) {
          Task(std::move(task))();  // gone with what it holds before the thread takes the next
          return std::monostate();
        };
      },
      [](std::monostate) {}, [intake = intake_](const Status&) { intake->close(); });
}

PoolExecutor::~PoolExecutor() {
  intake_->close();
}

bool PoolExecutor::try_run(std::function<void()> task) {
  MutexLock lock(intake_->mutex);
  return intake_->tasks && intake_->tasks.try_send(std::move(task)) == SendStatus::sent;
}

void PoolExecutor::Intake::close() {
  Sender<std::function<void()>> last;
  MutexLock lock(mutex);
  last.swap(tasks);
}

}  // namespace logpipe
