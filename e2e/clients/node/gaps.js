// KafkaJS writes and reads with its default settings until standard input closes:
// `node gaps.js BOOTSTRAP TOPIC PARTITIONS RATE FILE`. The file gets one line per event: `W` (acknowledged)
// or `R` (read), the time in nanoseconds since 1970, the partition.
const fs = require('fs')
const { Kafka, logLevel, Partitioners } = require('kafkajs')

const [bootstrap, topic, partitions, rate, file] = process.argv.slice(2)
const journal = fs.createWriteStream(file)
const now = () => BigInt(Date.now()) * 1000000n
let stopped = false
let failed = 0

const note = (kind, partition) => journal.write(`${kind} ${now()} ${partition}\n`)
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms))

async function write(producer, partition) {
  while (!stopped) {
    const began = Date.now()
    try {
      await producer.send({ topic, acks: -1, messages: [{ partition, value: 'x'.repeat(100) }] })
      note('W', partition)
    } catch (error) {
      failed += 1
      console.error(`not acknowledged: ${partition}: ${error.message}`)
    }
    await sleep(Math.max(0, 1000 / Number(rate) - (Date.now() - began)))
  }
}

async function main() {
  const kafka = new Kafka({ clientId: 'gaps', brokers: bootstrap.split(','), logLevel: logLevel.NOTHING })
  const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner })
  const consumer = kafka.consumer({ groupId: `gaps-${process.pid}` })
  await Promise.all([producer.connect(), consumer.connect()])
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({ eachMessage: async ({ partition }) => note('R', partition) })
  process.stdin.on('end', () => { stopped = true }).resume()
  const writers = []
  for (let p = 0; p < Number(partitions); p++) writers.push(write(producer, p))
  await Promise.all(writers)
  console.log(`failed ${failed}`)
  journal.end(() => process.exit(0))
}

main().catch((error) => { console.error(error); process.exit(1) })
