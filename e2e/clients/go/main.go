// Command clients runs franz-go (and, for gaps, sarama) against a cluster.
//
//	clients scenarios BOOTSTRAP REPLICATION [NAME...]   one PASS or FAIL line each
//	clients verify BOOTSTRAP TOPIC FILE                 reads all of it and compares
//	clients member BOOTSTRAP TOPIC GROUP                a group member, made to be killed
//	clients secure BOOTSTRAP CA MECHANISM USER PASSWORD TOPIC   one record through TLS and SASL
//	clients gaps CLIENT BOOTSTRAP TOPIC N RATE FILE     a load with a client's default settings
package main

import (
	"fmt"
	"os"
)

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: clients scenarios|verify|member|gaps ...")
		os.Exit(2)
	}
	var err error
	args := os.Args[2:]
	switch os.Args[1] {
	case "scenarios":
		err = scenarios(args)
	case "verify":
		err = verify(args)
	case "gaps":
		err = gaps(args)
	case "secure":
		err = secure(args)
	case "member":
		err = memberProcess(args)
	default:
		err = fmt.Errorf("no such command: %s", os.Args[1])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
