/* Holds a pod's namespaces: reaps what is left to it, and ends when it is told to. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void reap(int signal) {
	(void)signal;
	while (waitpid(-1, NULL, WNOHANG) > 0) {
	}
}

static void end(int signal) {
	(void)signal;
	_exit(0);
}

int main(void) {
	signal(SIGCHLD, reap);
	signal(SIGINT, end);
	signal(SIGTERM, end);
	for (;;) {
		pause();
	}
}
