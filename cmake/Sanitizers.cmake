# BLXREP_SANITIZE: a list for -fsanitize=, such as "address,undefined" or "thread"; empty for none.
set(BLXREP_SANITIZE "" CACHE STRING "Sanitizers to build with, comma-separated")
if(BLXREP_SANITIZE)
    add_compile_options(-fsanitize=${BLXREP_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    add_link_options(-fsanitize=${BLXREP_SANITIZE})
endif()
