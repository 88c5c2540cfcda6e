add_library(contract_queue STATIC contract/contract_queue.c contract/contract_queue_enqueue.c
	contract/contract_queue_claims.c contract/contract_queue_catalog.c)
target_link_libraries(contract_queue PUBLIC latentd_testing latentd_queue)

add_cmocka_test(NAME test_queue_contract SOURCES contract/test_queue_contract.c LIBS contract_queue)

add_executable(bench_queue bench/bench_queue.c)
target_link_libraries(bench_queue PRIVATE latentd_queue)
