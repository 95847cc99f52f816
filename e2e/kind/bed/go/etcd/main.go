// Command etcd is etcd's server as a program of its own module, so that its versions are pinned
// here.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
