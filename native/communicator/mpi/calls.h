// The calls of tensors. Each is announced first: ranks that call something else, or that cannot take part, are found before
// any data is on its way.
#pragma once

#include "interface.h"

namespace bts::mpi {

void all_reduce(const BtsCall& call);
void broadcast(const BtsCall& call);
void send(const BtsCall& call);
void receive(const BtsCall& call);

}  // namespace bts::mpi
